// Where documents come from: the server that served this page, or the page itself (an export).

import type { Source } from "./contract";
import { embedded } from "./embedded";
import { remote } from "./remote";

export const source: Source = embedded() ?? remote();

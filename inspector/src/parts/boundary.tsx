// A record may hold what nobody thought of: what cannot be shown says so, and the page goes on.

import { Component, type ComponentChildren } from "preact";

export class Boundary extends Component<{ of: string; children: ComponentChildren }, { problem: string | null }> {
  override state = { problem: null };

  /** Another place, another try. */
  override componentDidUpdate(before: { of: string }): void {
    if (before.of !== this.props.of && this.state.problem !== null) this.setState({ problem: null });
  }

  override componentDidCatch(error: unknown): void {
    this.setState({ problem: error instanceof Error ? error.message : String(error) });
  }

  override render(): ComponentChildren {
    return this.state.problem === null ? (
      this.props.children
    ) : (
      <p class="card bad" role="alert">
        This cannot be shown ({this.state.problem}). Raw shows it as it is stored.
      </p>
    );
  }
}

import { defineConfig, type Plugin } from "vite";

// The exported page holds the script and the styles in its own text: nothing in them may end or comment out the element.
function fitForInlining(): Plugin {
  return {
    name: "fit-for-inlining",
    generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type === "chunk") {
          file.code = file.code.replace(/<\/(script)/gi, "<\\/$1").replace(/<!--/g, "<\\!--");
        } else if (file.fileName.endsWith(".css") && /<\/style/i.test(String(file.source))) {
          throw new Error(`${file.fileName} holds </style`);
        }
      }
    },
  };
}

export default defineConfig({
  base: "/",
  plugins: [fitForInlining()],
  build: {
    outDir: "dist",
    target: "es2022",
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/page.js",
        chunkFileNames: "assets/page-[name].js",
        assetFileNames: "assets/page[extname]",
      },
    },
  },
});

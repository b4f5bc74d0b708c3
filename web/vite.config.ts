// The page is served by miras itself: relative addresses, one script, one sheet, nothing inline, nothing from outside.
import { defaultClientConditions, defineConfig } from "vite";
import { stamp } from "./stamp.mjs";

export default defineConfig({
  base: "./",
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] }, // its WebAssembly stays out of the page
  worker: { format: "es" },
  build: {
    outDir: "../src/miras/serve/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: { input: ["index.html", "rate.html"] },
  },
  plugins: [
    {
      name: "stamp",
      generateBundle() {
        this.emitFile({ type: "asset", fileName: "sources.sha256", source: stamp(import.meta.dirname) });
      },
    },
  ],
  server: { proxy: { "/api": "http://127.0.0.1:8000" } },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
} as never);

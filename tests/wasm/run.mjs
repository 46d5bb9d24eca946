// node run.mjs IMAGE.wasm: prints a line for every number, as tests/data/vectors.txt has them.
import { readFileSync, writeSync } from "node:fs";

const [image] = process.argv.slice(2);
if (image === undefined) {
    console.error("use: node run.mjs IMAGE.wasm");
    process.exit(2);
}
let lines = "";
const host = {
    number(name, length, bits) {
        const bytes = new Uint8Array(exports.memory.buffer, name, length);
        lines += `${new TextDecoder().decode(bytes)} ${BigInt.asUintN(64, bits).toString(16)}\n`;
    },
};
const { instance: { exports } } = await WebAssembly.instantiate(readFileSync(image), { host });
exports.vectors();
for (let rest = Buffer.from(lines); rest.length > 0;) rest = rest.subarray(writeSync(1, rest));

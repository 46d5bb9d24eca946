// node time.mjs IMAGE.wasm: prints how long a solve takes, the median of many, and how long a step of learning.
import { readFileSync } from "node:fs";

const [image] = process.argv.slice(2);
if (image === undefined) {
    console.error("use: node time.mjs IMAGE.wasm");
    process.exit(2);
}
const bytes = readFileSync(image);
const { instance: { exports } } = await WebAssembly.instantiate(bytes, { host: { number() {} } });
function microseconds(work, repeats) {
    const times = [];
    for (let round = 0; round < 40; round++) {
        const from = process.hrtime.bigint();
        const failed = work(repeats);
        const took = Number(process.hrtime.bigint() - from) / (1e3 * repeats);
        if (failed !== 0) throw new Error("it fails");
        times.push(took);
    }
    // The first rounds compile.
    const late = times.slice(20).sort((a, b) => a - b);
    return late[late.length >> 1].toFixed(1);
}
console.log(`${bytes.length} bytes, a solve in ${microseconds(exports.solve, 50)} us, a step of 16 samples in ${microseconds(exports.learn, 5)} us`);

/* Tests of clients/js, run by test_node.py beside it, which starts the services that the environment names. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import test from "node:test";

import { PointRend, ServiceError, cropped, decoded, runLengths } from "../../../clients/js/pointrend.js";

const { DISCS, TINY, PICTURE, BLACK } = process.env;
const picture = Buffer.from(PICTURE, "base64");
const discs = new PointRend(DISCS);
const tiny = new PointRend(TINY, { apiKey: "open" });

/** Answer with these responses in turn, and the last one again and again. */
async function stub(responses) {
  const asked = [];
  const server = createServer((request, response) => {
    request.resume();
    const { status, headers = {}, body = "" } = responses[Math.min(asked.length, responses.length - 1)];
    asked.push(request.url);
    response.writeHead(status, headers).end(body);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { asked, url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

test("a picture is segmented", async () => {
  const answer = await discs.segment(picture, { resolution: 28, score: 0.5, classes: ["disc", "ring"], boxes: null });
  assert.deepEqual(answer.instances.map(({ category }) => category), ["disc", "ring"]);
  for (const { area, segmentation, resolution } of answer.instances) {
    assert.equal(resolution, 28);
    const cells = decoded(segmentation);
    assert.equal(cells.length, answer.width * answer.height);
    assert.equal(cells.reduce((sum, cell) => sum + cell), area);
    const part = cropped(segmentation);
    for (let y = 0; y < answer.height; y++) {
      for (let x = 0; x < answer.width; x++) {
        const isInside = x >= part.left && x < part.left + part.width && y >= part.top && y < part.top + part.height;
        const cell = isInside ? part.cells[(y - part.top) * part.width + x - part.left] : 0;
        assert.equal(cell, cells[y * answer.width + x]);
      }
    }
  }
});

test("every kind of picture is sent", async () => {
  const view = new Uint8Array(picture);
  for (const each of [new Blob([view]), new Blob([view], { type: "image/png" }), view, view.buffer]) {
    assert.equal((await discs.segment(each)).instances.length, 2);
  }
});

test("boxes are a list or a text", async () => {
  const boxes = [[10, 10, 60, 60, "ring"]];
  for (const each of [boxes, JSON.stringify(boxes)]) {
    const { instances } = await discs.segment(picture, { boxes: each });
    assert.deepEqual(instances.map(({ category, bbox }) => [category, bbox]), [["ring", [10, 10, 50, 50]]]);
  }
});

test("nothing is found in a black picture", async () => {
  assert.deepEqual((await discs.segment(Buffer.from(BLACK, "base64"))).instances, []);
});

test("a stream yields levels and the answer", async () => {
  const events = [];
  const asked = { resolution: 112, boxes: [[10, 10, 110, 70]] };
  for await (const line of tiny.stream(picture, asked)) events.push(line);
  const { id, timings_ms, event, ...streamed } = events.at(-1);
  const { id: _, timings_ms: __, ...whole } = await tiny.segment(picture, asked);
  assert.equal(event, "done");
  assert.deepEqual(streamed, whole);
  assert.equal(whole.instances[0].resolution, 112);
  for (const { event: kind, side, instances } of events.slice(0, -1)) {
    assert.equal(kind, "level");
    assert.ok(side < 112);
    assert.equal(instances[0].resolution, side);
  }
});

test("a loop over a stream can be left", async () => {
  for await (const line of discs.stream(picture)) {
    assert.ok(line.event);
    break;
  }
});

test("an aborted request throws its reason", async () => {
  await assert.rejects(discs.segment(picture, {}, { signal: AbortSignal.abort(new Error("enough")) }), /enough/);
});

test("a refusal is told in the service's words, and is not tried again", async () => {
  const error = await discs.segment(picture, { resolution: 57 }).catch((found) => found);
  assert.ok(error instanceof ServiceError);
  assert.deepEqual([error.status, error.mayRetry], [422, false]);
  assert.match(error.message, /^422: .*resolution/);
  assert.equal(error.problem.type, error.type);
});

test("models are listed, the default first", async () => {
  const [model] = await discs.models();
  assert.deepEqual([model.name, model.task, model.ready], ["discs", "instance", true]);
});

test("a key is sent", async () => {
  assert.equal((await tiny.models())[0].name, "tiny");
  await assert.rejects(new PointRend(`${TINY}/`).segment(picture), { status: 401 });
});

test("a window of a kept picture is rendered", async () => {
  const { kept } = await tiny.segment(picture, { boxes: [[10, 10, 60, 60]], keep: 60 });
  const view = { id: kept, instance: 0, window: [10, 10, 35.5, 60], width: 50, height: 40 };
  const file = await tiny.render(view);
  assert.equal(file.type, "image/png");
  assert.equal(new DataView(await file.arrayBuffer()).getUint32(16), 50);
  await assert.rejects(tiny.render({ ...view, id: "unknown" }), { status: 404, type: "/problems/not-kept" });
});

test("boxes of a kept picture are segmented without it", async () => {
  const boxes = [[10, 10, 60, 60]];
  const { kept } = await tiny.segment(picture, { score: 1, keep: 60 });
  const [expected] = (await tiny.segment(picture, { boxes, resolution: 56 })).instances;
  const [found] = (await tiny.segment({ kept }, { boxes, resolution: 56 })).instances;
  assert.deepEqual(found.segmentation, expected.segmentation);
  await assert.rejects(tiny.segment({ kept: "unknown" }, { boxes }), { status: 404, type: "/problems/not-kept" });
});

test("other formats come as they are", async () => {
  const response = await discs.post(picture, { format: "coco" });
  assert.ok(Array.isArray(await response.json()));
});

test("a busy service is asked again", async (context) => {
  const busy = { status: 429, headers: { "retry-after": "0" } };
  const service = await stub([busy, { status: 503 }, { status: 200, body: "[]" }]);
  context.after(service.close);
  assert.deepEqual(await new PointRend(service.url).models(), []);
  assert.equal(service.asked.length, 3);
});

test("a service that asks for more time than there is is given up", async (context) => {
  const service = await stub([{ status: 429, headers: { "retry-after": "9" }, body: '{"detail":"full"}' }]);
  context.after(service.close);
  await assert.rejects(new PointRend(service.url, { retrySeconds: 5 }).models(), { message: "429: full", retryAfter: 9 });
  assert.equal(service.asked.length, 1);
});

test("a wait ends when the request is aborted", async (context) => {
  const service = await stub([{ status: 429, headers: { "retry-after": "500" } }]);
  context.after(service.close);
  const controller = new AbortController();
  const models = new PointRend(service.url).models({ signal: controller.signal });
  while (!service.asked.length) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(new Error("enough"));
  await assert.rejects(models, /enough/);
});

test("a stream that ends early is an error", async (context) => {
  const lines = { status: 200, body: '{"event":"level","side":28,"instances":[]}\n' };
  const failed = { status: 200, body: '{"event":"error","status":504,"detail":"too late"}\n' };
  const service = await stub([lines, failed]);
  context.after(service.close);
  const client = new PointRend(service.url);
  const read = async () => {
    for await (const _ of client.stream(picture));
  };
  await assert.rejects(read, /ended before/);
  await assert.rejects(read, { status: 504, message: "504: too late" });
});

test("no service is an error that names the address", async () => {
  await assert.rejects(new PointRend("http://127.0.0.1:9", { retrySeconds: 0 }).models(), /no answer from http:\/\/127.0.0.1:9\//);
});

test("run lengths are read as text and as a list", () => {
  assert.deepEqual(runLengths([1, 2, 3]), [1, 2, 3]);
  for (const [text, counts] of JSON.parse(process.env.RUNS)) assert.deepEqual(runLengths(text), counts);
});

test("a column that a mask fills, and a mask of nothing", () => {
  const part = cropped({ size: [3, 4], counts: [2, 3, 7] });
  assert.deepEqual(part, { left: 0, top: 0, width: 2, height: 3, cells: Uint8Array.of(0, 1, 0, 1, 1, 0) });
  assert.deepEqual(cropped({ size: [3, 4], counts: [12] }).cells.length, 0);
  assert.deepEqual([...decoded({ size: [2, 2], counts: [1, 2, 1] })], [0, 1, 1, 0]);
});

/* The example that the page opens with: a picture, and the lines of an answer that were recorded (bench/page/record.py). */

import { objects } from "./data/ndjson.js";
import { picture } from "./pictures.js";

const NAME = "astronaut.jpg";

/** Return the example: {picture, lines}. */
export async function example() {
  const [image, recorded] = await Promise.all([NAME, "astronaut.ndjson"].map((name) => fetch(new URL(`../example/${name}`, import.meta.url))));
  const lines = [];
  for await (const line of objects(recorded)) lines.push(line);
  return { picture: await picture(await image.blob(), NAME, true), lines };
}

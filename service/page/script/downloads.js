/* Files to keep, and texts to copy. */

/** Let the browser keep a blob as a file of this name. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Return the plain answer as a file of JSON, with the objects as they are shown. */
export function answerFile(line, objects) {
  const { event: _, side: __, ...members } = line;
  const entries = objects.map(({ entry: { explain: ___, ...rest } }) => rest);
  const answer = members.segments ? { ...members, segments: entries } : { ...members, instances: entries };
  return new Blob([JSON.stringify(answer, null, 1)], { type: "application/json" });
}

/**
 * Return the part of a picture inside of some paths as a PNG whose other pixels are transparent: all of it, or as much of
 * it as the box [left, top, width, height] holds.
 */
export function cutout(bitmap, paths, box = [0, 0, bitmap.width, bitmap.height]) {
  const left = Math.max(0, Math.floor(box[0]));
  const top = Math.max(0, Math.floor(box[1]));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.min(bitmap.width, Math.ceil(box[0] + box[2])) - left);
  canvas.height = Math.max(1, Math.min(bitmap.height, Math.ceil(box[1] + box[3])) - top);
  const pen = canvas.getContext("2d");
  pen.translate(-left, -top);
  for (const path of paths) pen.fill(path, "evenodd");
  pen.globalCompositeOperation = "source-in";
  pen.drawImage(bitmap, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** Return a picture's file name without its suffix. */
export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "picture";
}

/** Copy the text of an element and say so on the button. Without a clipboard the text is selected instead. */
export async function copy(element, button, said) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    said("Copied");
    button.dataset.done = "true";
  } catch {
    getSelection().selectAllChildren(element);
    said("Selected: copy it with the keyboard");
  }
}

/* Pictures that are dropped, pasted or picked. */

/** Return a picture that can be drawn and sent: {blob, name, type, bitmap, recorded}. Throws if it cannot be shown. */
export async function picture(blob, name, recorded = false) {
  const bitmap = await createImageBitmap(blob);
  return { blob, name, type: blob.type, bitmap, recorded };
}

/** Call `take(file)` for each picture that comes by drop, paste, or from one of the inputs. */
export function listen({ inputs, hint, take }) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files[0]) take(input.files[0]);
      input.value = ""; // so that the same file may be picked again
    });
  }
  addEventListener("paste", (event) => {
    const found = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
    if (found) take(found);
  });
  const isOver = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!isOver(event)) return;
    event.preventDefault();
    hint.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hint.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    hint.hidden = true;
    const found = event.dataTransfer?.files[0];
    if (found) take(found);
  });
}

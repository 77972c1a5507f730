/* The request of the present settings as a curl command and as a Python program. */

/** Return the address of a request with these parameters. */
export function address(path, parameters) {
  const query = new URLSearchParams(parameters).toString();
  return new URL(query ? `${path}?${query}` : path, document.baseURI).href;
}

/** Return a command for a POSIX shell. */
export function curl(picture, parameters, hasKey) {
  const words = [
    `--data-binary ${quoted(`@${picture.name}`)}`,
    `-H ${quoted(`Content-Type: ${picture.type || "application/octet-stream"}`)}`,
    ...(hasKey ? ['-H "X-API-Key: $API_KEY"'] : []),
    quoted(address("segment", parameters)),
  ];
  return `curl ${words.join(" \\\n  ")}`;
}

/** Return a program for the service's own client. */
export function python(picture, parameters, hasKey) {
  const service = new URL(".", document.baseURI).href.replace(/\/$/, "");
  const given = Object.entries(parameters).map(([name, value]) => `, ${name}=${argument(name, value)}`);
  const key = hasKey ? ', api_key=os.environ["API_KEY"]' : "";
  return [
    ...(hasKey ? ["import os", ""] : []),
    "from pointrend_client import Client",
    "",
    `with Client(${JSON.stringify(service)}${key}) as client:`,
    `    found = client.segment(${JSON.stringify(picture.name)}${given.join("")})`,
  ].join("\n");
}

function quoted(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function argument(name, value) {
  if (name === "boxes") return value;
  if (name === "classes") return JSON.stringify(value.split(",").map((each) => each.trim()));
  return /^[0-9.]+$/.test(value) ? value : JSON.stringify(value);
}

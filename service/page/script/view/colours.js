/* Okabe and Ito's colours, which people tell apart whatever kind of colour vision they have. */

const OBJECTS = ["#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2"];
const STAGES = { decode: "#009e73", queue: "#8d97a5", detector: "#d55e00", coarse: "#0072b2", refine: "#e69f00", encode: "#cc79a7" };

/** Return the colour of an object. */
export const colour = (index) => OBJECTS[index % OBJECTS.length];

/** Return the colour of a stage of a request. */
export const stageColour = (name) => STAGES[name] ?? "#8d97a5";

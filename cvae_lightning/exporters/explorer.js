const run = JSON.parse(document.getElementById("run").textContent);
const { condition: columns, kl, order, prior, reach, ink } = run;
const { latents, channels, height, width } = run.decoder;
const decode = decoderOf(run.decoder);
const drawn = samplerOf(run.sampler, 0);
const carried = carrierOf(run.gaussians);
const by = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const [FRAMES, MOST_TILES, UNKNOWN] = [11, 24, "any"];
const BUDGET = 8; // milliseconds per frame of the screen for the small images

// A point is a latent, the values of the condition, and their context; the page shows the image at the point `here`.
const pointOf = (z, y) => ({ z, y, context: contextOf(columns, y) });
const share = (a, b, t) => a.map((value, index) => (1 - t) * value + t * b[index]);
const groupAt = ({ y }) => groupOf(columns, y);

// Between two points the context changes gradually, and so do numbers; classes, flags and unknown values change halfway.
function onTheWay(a, b, t) {
  const nearer = t < 0.5 ? a.y : b.y;
  const y = nearer.map((value, place) => {
    const [from, to] = [a.y[place], b.y[place]];
    return values[place].kind === "number" && !Number.isNaN(from + to) ? (1 - t) * from + t * to : value;
  });
  return { z: share(a.z, b.z, t), y, context: share(a.context, b.context, t) };
}

const priorAt = (point) => {
  const group = prior.means.length > 1 ? groupAt(point) : 0;
  return { means: Float64Array.from(prior.means[group]), deviations: prior.deviations[group] };
};

// The point with other values of a column: at the same z, or, where each class has latents of its own, at the same place
// among them.
function withValues(point, { place }, given) {
  const y = point.y.slice();
  y.set(given, place);
  const z = by("moved").checked ? carried(point.z, groupAt(point), groupOf(columns, y)) : point.z;
  return pointOf(z, y);
}

// For each column its place in y, its values where nothing else is chosen, and how its numbers are written.
let size = 0;
for (const column of columns) {
  column.place = size;
  column.known = Array(column.kind === "flags" ? column.names.length : 1).fill(0);
  size += column.known.length;
  if (column.kind !== "number") continue;
  const span = column.high - column.low;
  const whole = Number.isInteger(column.low) && Number.isInteger(column.high) && span >= 20;
  const digits = whole ? 0 : Math.min(20, Math.max(0, Math.ceil(2 - Math.log10(span || 1))));
  column.step = whole ? 1 : "any";
  column.text = (value) => value.toFixed(digits).replace("-", "\u2212");
  column.known = [whole ? Math.round(column.mean) : column.mean];
}
const values = columns.flatMap((column) => column.known.map(() => column));
const main = columns.find(({ kind }) => kind === "classes");
const typical = Float64Array.from(columns.flatMap(({ known }) => known));

function startOf(label) {
  const y = typical.slice();
  if (main) y[main.place] = label % main.names.length;
  return pointOf(drawn(groupOf(columns, y)), y);
}

let here = startOf(3);
const ends = { a: here, b: startOf(8) };

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const canvasOf = () => sized(element("canvas"));

function sized(canvas) {
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}

function paint(canvas, pixels) {
  const { data } = ink ? blackInk : opaque;
  const area = width * height;
  if (ink) for (let i = 0; i < area; i++) data[4 * i + 3] = 255 * pixels[i]; // a pixel's value is its opacity
  else
    for (let i = 0; i < area; i++)
      for (let channel = 0; channel < 3; channel++) data[4 * i + channel] = 255 * pixels[i + area * (channel % channels)];
  canvas.getContext("2d").putImageData(ink ? blackInk : opaque, 0, 0);
}

const [blackInk, opaque] = [new ImageData(width, height), new ImageData(width, height)];
opaque.data.fill(255);
const image = sized(by("image"));
document.body.classList.toggle("ink", ink);
document.body.style.setProperty("--ratio", width / height);

// The small images, which are painted one after another, a few in each frame of the screen.
const pictures = [];
let next = 0;

function pictureAt(point, canvas) {
  const picture = { canvas, point, stale: true };
  pictures.push(picture);
  return picture;
}

// Paints for so many milliseconds, at least one image; returns whether all are painted.
function paintPictures(milliseconds) {
  const end = performance.now() + milliseconds;
  for (let count = 0; count < pictures.length; count++) {
    const picture = pictures[next];
    next = (next + 1) % pictures.length;
    if (!picture.stale) continue;
    const { z, context } = picture.point();
    paint(picture.canvas, decode(z, context));
    picture.stale = false;
    if (performance.now() > end) break;
  }
  return pictures.every(({ stale }) => !stale);
}

// Controls of the condition: one per column, which shows the values of a point, and changes those of `here`.
function chip(type, name, text, change, ...above) {
  const input = element("input", { type, name });
  input.addEventListener("change", () => change(input.checked));
  return { input, chip: element("label", { className: "tile" }, input, ...above, element("span", { textContent: text, title: text })) };
}

const tiles = [];
const choose = (column, given) => goTo(withValues(here, column, given));

function classTiles(column, pictured) {
  const options = [...column.names.keys(), ...(column.optional ? [NaN] : [])];
  const radios = options.map((label) => {
    const canvas = pictured ? canvasOf() : null;
    if (pictured) tiles.push(pictureAt(() => withValues(here, column, [label]), canvas));
    const text = Number.isNaN(label) ? UNKNOWN : column.names[label];
    const { input, chip: tile } = chip("radio", `column ${column.place}`, text, () => choose(column, [label]), ...(pictured ? [canvas] : []));
    return { input, tile };
  });
  const longest = Math.max(...column.names.map((name) => name.length));
  const look = longest > 12 ? " wordy" : (longest > 3 ? " long" : "") + (options.length % 5 === 1 ? " six" : "");
  const grid = element("div", { className: pictured ? `tiles${look}` : "chips" }, ...radios.map(({ tile }) => tile));
  const show = ([label]) => {
    radios[options.findIndex((option) => Object.is(option, label))].input.checked = true;
  };
  return { parts: [grid], show, radios: radios.map(({ input }) => input) };
}

function classList(column) {
  const options = column.names.map((name, label) => new Option(name, label));
  if (column.optional) options.unshift(new Option(UNKNOWN, NaN));
  const list = element("select", {}, ...options);
  list.setAttribute("aria-label", column.name);
  list.addEventListener("change", () => choose(column, [Number(list.value)]));
  return { parts: [list], show: ([label]) => (list.value = label) };
}

function anyChip(column) {
  return chip("checkbox", "", UNKNOWN, (checked) => choose(column, column.known.map((value) => (checked ? NaN : value))));
}

function numberSlider(column) {
  const { low, high, step, text } = column;
  const slider = element("input", { type: "range", min: low, max: high, step });
  const output = element("output");
  const any = anyChip(column);
  slider.setAttribute("aria-label", column.name);
  slider.addEventListener("input", () => choose(column, (column.known = [slider.valueAsNumber])));
  slider.addEventListener("dblclick", () => choose(column, (column.known = [typical[column.place]])));
  const row = element("div", { className: "number" }, element("small", { textContent: text(low) }), slider);
  row.append(element("small", { textContent: text(high) }), output, ...(column.optional ? [any.chip] : []));
  const show = ([value]) => {
    const unknown = Number.isNaN(value);
    any.input.checked = unknown;
    row.classList.toggle("unknown", unknown);
    if (!unknown && slider.valueAsNumber !== value) slider.value = value;
    output.value = unknown ? UNKNOWN : text(value);
  };
  return { parts: [row], show };
}

function flagChips(column) {
  const any = anyChip(column);
  const change = (index) => (checked) => {
    const { place, known } = column;
    const shown = Number.isNaN(here.y[place]) ? known.fill(0) : here.y.slice(place, place + known.length);
    choose(column, (column.known = Array.from(shown).with(index, Number(checked))));
  };
  const flags = column.names.map((name, index) => chip("checkbox", "", name, change(index)));
  const all = [...flags, ...(column.optional ? [any] : [])];
  const show = (shown) => {
    any.input.checked = shown.some(Number.isNaN);
    flags.forEach(({ input }, index) => (input.checked = shown[index] === 1));
  };
  return { parts: [element("div", { className: "chips" }, ...all.map((one) => one.chip))], show };
}

function controlOf(column) {
  const { kind, names, place, known } = column;
  const legend = column === main && tiled(column) ? `The same z in every ${column.name === "label" ? "class" : column.name}` : column.name;
  const make = kind === "number" ? numberSlider : kind === "flags" ? flagChips : tiled(column) ? classTiles : classList;
  const { parts, show, radios = [] } = make(column, column === main);
  const fieldset = element("fieldset", {}, element("legend", { textContent: legend }), ...parts);
  if (column === main) fieldset.append(by("moving"));
  by("condition").append(fieldset);
  return { radios, show: (y) => show([...y.slice(place, place + known.length)]) };
}

const tiled = ({ names }) => names.length <= MOST_TILES;
const controls = columns.map(controlOf);
by("condition").hidden = !columns.length;
by("moving").hidden = !main || run.gaussians.groups === 1;
by("moved").addEventListener("change", redraw);

// The values as core/conditions.py writes them.
function written(y) {
  const alone = columns.length === 1;
  const texts = columns.map(({ kind, name, names, place, known, text }) => {
    const own = [...y.slice(place, place + known.length)];
    if (own.some(Number.isNaN)) return alone ? UNKNOWN : `${UNKNOWN} ${name}`;
    if (kind === "number") return `${name} ${text(own[0])}`;
    if (kind === "flags") return names.filter((_, index) => own[index]).join("+") || `no ${name}`;
    return alone || !/^\d+$/.test(names[own[0]]) ? names[own[0]] : `${name} ${names[own[0]]}`;
  });
  return texts.join(", ");
}

const most = Math.max(1e-6, ...kl);
const sliders = order.map((latent) => {
  const row = document.createElement("label");
  row.className = "latent";
  row.title = `${kl[latent].toFixed(2)} nats. Double-click: the mean of the prior.`;
  row.style.setProperty("--kl", Math.max(0, kl[latent] / most));
  row.innerHTML = `<span class="name"><i>z</i><sub>${latent}</sub></span><input type="range" step="0.05"><output></output>`;
  const [, slider, output] = row.children;
  Object.assign(slider, { min: -reach, max: reach });
  slider.setAttribute("aria-label", `z ${latent}, ${kl[latent].toFixed(2)} nats`);
  const change = (value) => {
    stop();
    here = { ...here, z: here.z.with(latent, value) };
    redraw();
  };
  slider.addEventListener("input", () => change(slider.valueAsNumber));
  slider.addEventListener("dblclick", () => change(priorAt(here).means[latent]));
  by("sliders").append(row);
  return { latent, slider, output };
});
by("sliders").style.gridTemplateRows = `repeat(${Math.ceil(latents / 2)}, auto)`;

const frames = Array.from({ length: FRAMES }, (_, index) => {
  const canvas = canvasOf();
  by("frames").append(canvas);
  return pictureAt(() => onTheWay(ends.a, ends.b, index / (FRAMES - 1)), canvas);
});

function film() {
  for (const frame of frames) frame.stale = true;
}

// The big image and the controls at `here`; the small images are painted later.
function render() {
  const start = performance.now();
  paint(image, decode(here.z, here.context));
  const milliseconds = performance.now() - start;
  for (const tile of tiles) tile.stale = true;
  for (const control of controls) control.show(here.y);
  const { means, deviations } = priorAt(here);
  for (const { latent, slider, output } of sliders) {
    const value = here.z[latent];
    const place = (z) => `${(50 * (z / reach + 1)).toFixed(1)}%`;
    if (slider.valueAsNumber !== value) slider.value = value;
    output.value = value.toFixed(2).replace("-", "\u2212");
    slider.style.setProperty("--from", place(means[latent] - 2 * deviations[latent]));
    slider.style.setProperty("--to", place(means[latent] + 2 * deviations[latent]));
  }
  image.setAttribute("aria-label", columns.length ? `Image of ${written(here.y)}` : "Image");
  return milliseconds;
}

let [asked, changed] = [false, false];

function redraw() {
  changed = true;
  ask();
}

function ask() {
  if (!asked) requestAnimationFrame(nextFrame);
  asked = true;
}

function nextFrame() {
  asked = false;
  if (changed) by("speed").textContent = `: the last image took ${render().toFixed(1)} ms`;
  changed = false;
  if (!paintPictures(BUDGET)) ask();
}

let motion = 0; // number of the current motion; starting another ends it

function glide(milliseconds, place, whenDone = () => {}) {
  const mine = ++motion;
  const start = performance.now();
  const step = (now) => {
    if (mine !== motion) return;
    const t = Math.min(1, Math.max(0, (now - start) / milliseconds));
    here = place(t * t * (3 - 2 * t));
    redraw();
    if (t < 1) requestAnimationFrame(step);
    else whenDone();
  };
  requestAnimationFrame(step);
}

function goTo(point, milliseconds = 0) {
  stop();
  const from = here;
  if (milliseconds && !calm) return glide(milliseconds, (t) => onTheWay(from, point, t));
  here = point;
  redraw();
}

const way = by("between");
const onIt = (t) => {
  way.value = t;
  return onTheWay(ends.a, ends.b, t);
};

function stop() {
  motion++;
  by("play").firstElementChild.textContent = "Play";
}

function play() {
  const playing = by("play").firstElementChild.textContent === "Stop";
  stop();
  if (playing) return;
  by("play").firstElementChild.textContent = "Stop";
  glide(3000, onIt, stop);
}

function keep(end) {
  ends[end] = here;
  way.value = end === "a" ? 0 : 1;
  film();
  ask();
}

way.addEventListener("input", () => {
  stop();
  here = onTheWay(ends.a, ends.b, way.valueAsNumber);
  redraw();
});

const actions = {
  d: ["draw", () => goTo(pointOf(drawn(groupAt(here)), here.y), 300)],
  m: ["center", () => goTo(pointOf(priorAt(here).means, here.y), 300)],
  a: ["keep-a", () => keep("a")],
  b: ["keep-b", () => keep("b")],
  p: ["play", play],
};
for (const [id, action] of Object.values(actions)) by(id).addEventListener("click", action);

// The class that a key chooses: the one of that name, or of that number unless digits are names of classes.
function classOfKey(key) {
  if (!main || !/^\d$/.test(key)) return -1;
  const named = main.names.some((name) => /^\d$/.test(name));
  return named ? main.names.indexOf(key) : key < main.names.length ? Number(key) : -1;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const action = actions[event.key.toLowerCase()];
  if (action) action[1]();
  const label = classOfKey(event.key);
  if (label >= 0) choose(main, [label]);
});

render();
ask();

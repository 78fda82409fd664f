const run = JSON.parse(document.getElementById("run").textContent);
const { labels, kl, order, prior, reach } = run;
const { latents, classes, height, width } = run.decoder;
const decode = decoderOf(run.decoder);
const drawn = samplerOf(run.sampler, 0);
const carried = carrierOf(run.gaussians);
const by = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const FRAMES = 11;

// A point is a latent and a context; the page shows the image at the point `here`.
const oneHot = (label) => Float64Array.from({ length: classes }, (_, other) => Number(other === label));
const pointOf = (z, label) => ({ z, context: oneHot(label) });
const between = (a, b, t) => a.map((value, index) => (1 - t) * value + t * b[index]);
const onTheWay = (a, b, t) => ({ z: between(a.z, b.z, t), context: between(a.context, b.context, t) });
const labelOf = ({ context }) => (classes ? context.indexOf(Math.max(...context)) : 0);
const priorOf = (label) => {
  const group = prior.means.length > 1 ? label : 0;
  return { means: Float64Array.from(prior.means[group]), deviations: prior.deviations[group] };
};


// The image of another class: at the same z, or, where each class has latents of its own, at the same place among them.
const asClass = ({ z, context }, label) =>
  pointOf(by("moved").checked ? carried(z, labelOf({ context }), label) : z, label);

let here = pointOf(drawn(3 % (classes || 1)), 3 % (classes || 1));
const ends = { a: here, b: pointOf(drawn(8 % (classes || 1)), 8 % (classes || 1)) };

function canvasIn(parent) {
  const canvas = document.createElement("canvas");
  parent.append(canvas);
  return sized(canvas);
}

function sized(canvas) {
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}

function paint(canvas, pixels) {
  const image = new ImageData(width, height); // black; a pixel's value is its opacity
  for (let i = 0; i < pixels.length; i++) image.data[4 * i + 3] = 255 * pixels[i];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const image = sized(by("image"));
const tiles = [];
const radios = labels.map((name, label) => {
  const grid = document.querySelector(".tiles");
  const tile = document.createElement("label");
  tile.className = "tile";
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "label", value: label });
  tile.append(radio);
  tiles.push(canvasIn(tile));
  tile.append(Object.assign(document.createElement("span"), { textContent: name, title: name }));
  grid.append(tile);
  radio.addEventListener("change", () => goTo(asClass(here, label)));
  return radio;
});
document.querySelector(".tiles").classList.toggle("long", labels.some((name) => name.length > 3));
by("classes").hidden = !classes;
by("moving").hidden = run.gaussians.groups === 1;
by("moved").addEventListener("change", redraw);

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
  slider.addEventListener("dblclick", () => change(priorOf(labelOf(here)).means[latent]));
  by("sliders").append(row);
  return { latent, slider, output };
});
by("sliders").style.gridTemplateRows = `repeat(${Math.ceil(latents / 2)}, auto)`;

const frames = Array.from({ length: FRAMES }, () => canvasIn(by("frames")));

function film() {
  frames.forEach((frame, index) => {
    const point = onTheWay(ends.a, ends.b, index / (FRAMES - 1));
    paint(frame, decode(point.z, point.context));
  });
}

function render() {
  const start = performance.now();
  paint(image, decode(here.z, here.context));
  tiles.forEach((tile, label) => {
    const point = asClass(here, label);
    paint(tile, decode(point.z, point.context));
  });
  const label = labelOf(here);
  if (classes) radios[label].checked = true;
  const { means, deviations } = priorOf(label);
  for (const { latent, slider, output } of sliders) {
    const value = here.z[latent];
    const place = (z) => `${(50 * (z / reach + 1)).toFixed(1)}%`;
    if (slider.valueAsNumber !== value) slider.value = value;
    output.value = value.toFixed(2).replace("-", "\u2212");
    slider.style.setProperty("--from", place(means[latent] - 2 * deviations[latent]));
    slider.style.setProperty("--to", place(means[latent] + 2 * deviations[latent]));
  }
  image.setAttribute("aria-label", classes ? `Image of ${labels[label]}` : "Image");
  return performance.now() - start;
}

let asked = false;

function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const milliseconds = render().toFixed(1);
    by("speed").textContent = `: the last change took ${milliseconds} ms for ${1 + tiles.length} image${classes ? "s" : ""}`;
  });
}

let motion = 0; // number of the current motion; starting another ends it

function glide(milliseconds, place, whenDone = () => {}) {
  const mine = ++motion;
  const start = performance.now();
  const step = (now) => {
    if (mine !== motion) return;
    const t = Math.min(1, Math.max(0, (now - start) / milliseconds));
    here = place(t * t * (3 - 2 * t));
    render();
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
}

way.addEventListener("input", () => {
  stop();
  here = onTheWay(ends.a, ends.b, way.valueAsNumber);
  redraw();
});

const actions = {
  d: ["draw", () => goTo(pointOf(drawn(labelOf(here)), labelOf(here)), 300)],
  m: ["center", () => goTo(pointOf(priorOf(labelOf(here)).means, labelOf(here)), 300)],
  a: ["keep-a", () => keep("a")],
  b: ["keep-b", () => keep("b")],
  p: ["play", play],
};
for (const [id, action] of Object.values(actions)) by(id).addEventListener("click", action);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const action = actions[event.key.toLowerCase()];
  if (action) action[1]();
  const label = labels.findIndex((_, index) => String(index) === event.key);
  if (label >= 0) goTo(asClass(here, label));
});

film();
render();

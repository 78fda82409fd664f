// The decoder and the sampler of a run: plain functions of numbers, which know nothing of the page.

const POWERS = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));

// Half-precision numbers, little-endian, in base64 -> Float32Array.
function unpacked(base64) {
  const bytes = atob(base64);
  const values = new Float32Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) {
    const bits = bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8);
    const exponent = (bits >> 10) & 31;
    const size = ((exponent ? 1024 : 0) + (bits & 1023)) * POWERS[exponent];
    values[i] = bits & 32768 ? -size : size;
  }
  return values;
}

const MEANS = {
  sigmoid: (output) => 1 / (1 + Math.exp(-output)),
  continuous_bernoulli: (output) => {
    const h = output / 2;
    return 0.5 + 0.5 * (Math.abs(h) < 0.3 ? h / 3 - h ** 3 / 45 + (2 * h ** 5) / 945 : 1 / Math.tanh(h) - 1 / h);
  },
};

// output += inputs @ weights, where row i of the weights is what input i adds to each output. Inputs that are 0 cost
// nothing: half of what comes from a ReLU. Four rows at a time, so that each output is read and written less often.
function accumulate(inputs, count, weights, start, output, width) {
  let [i, j, k] = [-1, -1, -1];
  for (let l = 0; l < count; l++) {
    if (inputs[l] === 0) continue;
    if (i < 0) i = l;
    else if (j < 0) j = l;
    else if (k < 0) k = l;
    else {
      const [a, b, c, d] = [inputs[i], inputs[j], inputs[k], inputs[l]];
      let [p, q, r, s] = [start + i * width, start + j * width, start + k * width, start + l * width];
      for (let o = 0; o < width; o++) {
        output[o] += a * weights[p++] + b * weights[q++] + c * weights[r++] + d * weights[s++];
      }
      i = j = k = -1;
    }
  }
  for (const rest of [i, j, k]) {
    if (rest < 0) continue;
    const a = inputs[rest];
    let p = start + rest * width;
    for (let o = 0; o < width; o++) output[o] += a * weights[p++];
  }
}

// What the decoder sees of y, as core/conditions.py computes it. y has one number per class column, number and flag: the
// index of the class, the number in its unit, and 0 or 1; NaN is unknown. A column that may be unknown ends with a flag.
function contextOf(columns, y) {
  const context = [];
  let place = 0;
  for (const { kind, names, mean, std, optional } of columns) {
    const values = y.slice(place, (place += kind === "flags" ? names.length : 1));
    if (kind === "classes") names.forEach((_, index) => context.push(Number(index === values[0])));
    else for (const value of values) context.push(Number.isNaN(value) ? 0 : kind === "number" ? (value - mean) / std : value);
    if (optional) context.push(Number(values.some(Number.isNaN)));
  }
  return Float64Array.from(context);
}

// The Gaussians of y: those of its class in the first class column, the last ones if that is unknown.
function groupOf(columns, y) {
  let place = 0;
  for (const { kind, names } of columns) {
    if (kind === "classes") return Number.isNaN(y[place]) ? names.length : y[place];
    place += kind === "flags" ? names.length : 1;
  }
  return 0;
}

// The mean of p(x | z, y): (z, context) -> one number in [0, 1] for each pixel of each channel. The context is that of a
// y, or between two; the result is overwritten by the next call.
function decoderOf({ latents, contexts, mean, layers, parameters }) {
  const weights = unpacked(parameters);
  const buffers = layers.map(([kind, width]) => new Float64Array(kind === "modulate" ? 2 * width : width));
  const pixel = MEANS[mean];
  return (z, context) => {
    let [features, count, start] = [z, latents, 0];
    layers.forEach(([kind, width], index) => {
      const output = buffers[index];
      if (kind === "concatenate") {
        output.set(features.subarray(0, count));
        output.set(context, count);
      } else if (kind === "linear") {
        output.set(weights.subarray(start + count * width, start + (count + 1) * width));
        accumulate(features, count, weights, start, output, width);
        start += (count + 1) * width;
      } else if (kind === "add") {
        output.set(features.subarray(0, width));
        accumulate(context, contexts, weights, start, output, width);
        start += contexts * width;
      } else if (kind === "modulate") {
        output.fill(0);
        accumulate(context, contexts, weights, start, output, 2 * width);
        for (let o = 0; o < width; o++) output[o] = features[o] * (1 + output[o]) + output[width + o];
        start += 2 * contexts * width;
      } else {
        for (let o = 0; o < width; o++) output[o] = features[o] > 0 ? features[o] : 0;
      }
      [features, count] = [output, width];
    });
    for (let o = 0; o < count; o++) features[o] = pixel(features[o]);
    return features.subarray(0, count);
  };
}

// Uniform in [0, 1), always the same for the same seed (Marsaglia 2003, xorshift32).
function uniformOf(seed) {
  let state = seed + 2463534242;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

// Draws of z from what the run draws new images from: a flow, or mixtures of Gaussians.
function samplerOf(content, seed) {
  const uniform = uniformOf(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()); // Box and Muller
  if (!content.orders) return mixtureOf(content, uniform, normal);
  const drawn = flowOf(content);
  return (group) => drawn(Float64Array.from(content.orders[0], normal), group);
}

// The z that a flow maps to noise, see models/flows.py: the couplings come in the order in which the noise goes through.
function flowOf({ classes, kept, widths, most, orders, parameters }) {
  const weights = unpacked(parameters);
  const buffers = widths.map((width) => new Float64Array(width));
  return (noise, group) => {
    let [u, start] = [noise, 0];
    for (const order of orders) {
      const context = Array.from({ length: classes }, (_, index) => Number(index === group));
      let features = Float64Array.from([...u.subarray(0, kept), ...context]);
      widths.forEach((width, layer) => {
        const [output, count] = [buffers[layer], features.length];
        output.set(weights.subarray(start + count * width, start + (count + 1) * width));
        accumulate(features, count, weights, start, output, width);
        start += (count + 1) * width;
        features = layer + 1 < widths.length ? output.map((value) => Math.max(value, 0)) : output;
      });
      const moved = features.length / 2;
      const before = u.map((value, index) => {
        if (index < kept) return value;
        const [shift, scale] = [features[index - kept], features[index - kept + moved]];
        return (value - shift) * Math.exp(-most * Math.tanh(scale / most));
      });
      u = new Float64Array(before.length);
      order.forEach((place, index) => (u[place] = before[index]));
    }
    return u;
  };
}

// Mixtures of Gaussians, one per group or one for all.
function mixtureOf({ groups, components, latents, parameters }, uniform, normal) {
  const values = unpacked(parameters);
  const triangle = (latents * (latents + 1)) / 2;
  const means = groups * components;
  const factors = means * (1 + latents);
  return (asked) => {
    const group = groups > 1 ? asked : 0;
    const weights = values.subarray(group * components, (group + 1) * components);
    let left = uniform() * weights.reduce((sum, weight) => sum + weight, 0);
    let chosen = weights.findIndex((weight) => (left -= weight) < 0);
    if (chosen < 0) chosen = weights.findLastIndex((weight) => weight > 0);
    const component = group * components + chosen;
    const noise = Float64Array.from({ length: latents }, normal);
    let factor = factors + component * triangle;
    return Float64Array.from(noise, (_, row) => {
      let sum = values[means + component * latents + row];
      for (let column = 0; column <= row; column++) sum += values[factor++] * noise[column];
      return sum;
    });
  };
}

// The same place in another class: the groups' Gaussians, whose factors are lower triangles, whiten z and color it again.
function carrierOf({ groups, latents, parameters }) {
  const values = unpacked(parameters);
  const triangle = (latents * (latents + 1)) / 2;
  const meansOf = (group) => groups + group * latents;
  const factorOf = (group) => groups * (1 + latents) + group * triangle;
  return (z, from, to) => {
    if (groups === 1 || from === to) return z;
    const noise = new Float64Array(latents);
    const carried = new Float64Array(latents);
    let [divisor, factor] = [factorOf(from), factorOf(to)];
    for (let row = 0; row < latents; row++) {
      let rest = z[row] - values[meansOf(from) + row];
      for (let column = 0; column < row; column++) rest -= values[divisor++] * noise[column];
      noise[row] = rest / values[divisor++];
      carried[row] = values[meansOf(to) + row];
      for (let column = 0; column <= row; column++) carried[row] += values[factor++] * noise[column];
    }
    return carried;
  };
}

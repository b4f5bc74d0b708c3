// A photo as the square views that the towers take: byte for byte what Pillow makes (bilinear, reducing_gap 3), as
// model/numeric/views.py calls it. Numbers only, no page.

/** Bytes in rows, three a pixel. */
export interface Picture { width: number; height: number; rgb: Uint8Array | Uint8ClampedArray }

const MEAN = 127;
const STD = 128;
const GAP = 3;
const BITS = 22;

/** (3, side, side) float32: the photo stretched to a square, (x - 127) / 128. */
export function view(photo: Picture, side: number): Float32Array {
  const { rgb } = resized(photo, side);
  const found = new Float32Array(3 * side * side);
  for (let pixel = 0; pixel < side * side; pixel++)
    for (let band = 0; band < 3; band++) found[band * side * side + pixel] = (rgb[3 * pixel + band]! - MEAN) / STD;
  return found;
}

/** Stretched to a square. */
export function resized(photo: Picture, side: number): Picture {
  if (photo.width === side && photo.height === side) return photo;
  const across = Math.trunc(photo.width / side / GAP) || 1;
  const down = Math.trunc(photo.height / side / GAP) || 1;
  const small = across > 1 || down > 1 ? reduced(photo, across, down) : photo;
  const wide = horizontal(small, photo.width / across, side);
  return vertical(wide, photo.height / down, side);
}

/** What a sum of `count` bytes is multiplied with for their mean in 24 bits; the quotient is one of float32. */
const mean = (sum: number, count: number): number =>
  Math.floor(((sum + (count >> 1)) * Math.trunc(Math.fround(2 ** 32 / (256 * count)))) / 2 ** 24);

/** Means of cells of `across` x `down` pixels; those at the right and the lower edge may be smaller. */
function reduced(photo: Picture, across: number, down: number): Picture {
  const { width, height, rgb } = photo;
  const [wide, high] = [Math.ceil(width / across), Math.ceil(height / down)];
  const made = new Uint8Array(3 * wide * high);
  for (let y = 0; y < high; y++) {
    const rows = Math.min(down, height - y * down);
    for (let x = 0; x < wide; x++) {
      const columns = Math.min(across, width - x * across);
      for (let band = 0; band < 3; band++) {
        let sum = 0;
        for (let row = 0; row < rows; row++) {
          let at = 3 * ((y * down + row) * width + x * across) + band;
          for (let column = 0; column < columns; column++, at += 3) sum += rgb[at]!;
        }
        made[3 * (y * wide + x) + band] = mean(sum, rows * columns);
      }
    }
  }
  return { width: wide, height: high, rgb: made };
}

interface Weights { first: Int32Array; count: Int32Array; most: number; values: Int32Array }

/** For each of `wanted` places the pixels that a triangle over `length` of the `given` ones covers, and their weights. */
function weights(given: number, length: number, wanted: number): Weights {
  const scale = Math.fround(length) / wanted;
  const support = Math.max(scale, 1);
  const most = Math.ceil(support) * 2 + 1;
  const found = { first: new Int32Array(wanted), count: new Int32Array(wanted), most, values: new Int32Array(wanted * most) };
  const row = new Float64Array(most);
  for (let place = 0; place < wanted; place++) {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(given, Math.trunc(centre + support + 0.5)) - first;
    let total = 0;
    for (let x = 0; x < count; x++) {
      const far = Math.abs((x + first - centre + 0.5) * (1 / support));
      row[x] = far < 1 ? 1 - far : 0;
      total += row[x]!;
    }
    for (let x = 0; x < count; x++) found.values[place * most + x] = Math.trunc(0.5 + (total === 0 ? row[x]! : row[x]! / total) * 2 ** BITS);
    found.first[place] = first;
    found.count[place] = count;
  }
  return found;
}

const byte = (sum: number): number => Math.min(255, Math.max(0, sum >> BITS));

function horizontal(photo: Picture, length: number, side: number): Picture {
  const { width, height, rgb } = photo;
  if (width === side && length === width) return photo;
  const { first, count, most, values } = weights(width, length, side);
  const made = new Uint8Array(3 * side * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < side; x++) {
      let [red, green, blue] = [1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)];
      let at = 3 * (y * width + first[x]!);
      for (let k = x * most; k < x * most + count[x]!; k++, at += 3) {
        const weight = values[k]!;
        red = (red + rgb[at]! * weight) | 0;
        green = (green + rgb[at + 1]! * weight) | 0;
        blue = (blue + rgb[at + 2]! * weight) | 0;
      }
      const to = 3 * (y * side + x);
      made[to] = byte(red);
      made[to + 1] = byte(green);
      made[to + 2] = byte(blue);
    }
  return { width: side, height, rgb: made };
}

function vertical(photo: Picture, length: number, side: number): Picture {
  const { width, height, rgb } = photo;
  if (height === side && length === height) return photo;
  const { first, count, most, values } = weights(height, length, side);
  const made = new Uint8Array(3 * width * side);
  const sums = new Int32Array(3 * width);
  for (let y = 0; y < side; y++) {
    sums.fill(1 << (BITS - 1));
    for (let k = 0; k < count[y]!; k++) {
      const weight = values[y * most + k]!;
      const from = 3 * width * (first[y]! + k);
      for (let at = 0; at < 3 * width; at++) sums[at] = sums[at]! + rgb[from + at]! * weight;
    }
    for (let at = 0; at < 3 * width; at++) made[3 * width * y + at] = byte(sums[at]!);
  }
  return { width, height: side, rgb: made };
}

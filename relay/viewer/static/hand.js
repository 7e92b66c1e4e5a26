// A hand from 21 landmarks: its bones over the camera picture, or the whole hand as the shape to learn.

const SVG = 'http://www.w3.org/2000/svg'
const PARENTS = [0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19]
const PALM = [0, 1, 5, 9, 13, 17]
const FINGERS = [1, 5, 9, 13, 17]
const MARGIN = 0.25

function drawn(kind, attributes, name = '') {
  const found = document.createElementNS(SVG, kind)
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value)
  if (name) found.setAttribute('class', name)
  return found
}

/** Draws landmarks (0 to 1 of the picture) into an SVG of viewBox 0 0 1 1; none, and it is empty. */
export function drawOver(svg, landmarks = []) {
  const bones = landmarks.slice(1).map((to, index) => {
    const from = landmarks[PARENTS[index]]
    return drawn('line', { x1: from[0], y1: from[1], x2: to[0], y2: to[1] })
  })
  svg.replaceChildren(...bones)
}

/**
 * The palm, and each finger's first bone and the rest of it, farthest first: {name, at: [[x, y, z], …], depth}. A finger
 * bent at its middle joint lies before or behind its own first bone. z is negative towards the one who looks.
 */
export function partsOf(points) {
  const part = (name, ...numbers) => {
    const at = numbers.map((number) => points[number])
    return { name, at, depth: at.reduce((sum, [, , z]) => sum + z, 0) / at.length }
  }
  const fingers = FINGERS.flatMap((base, number) => {
    const name = number ? 'finger' : 'thumb'
    return [part(name, base, base + 1), part(name, base + 1, base + 2, base + 3)]
  })
  return [part('palm', ...PALM), ...fingers].sort((a, b) => b.depth - a.depth)
}

/** Draws a sign's hand into `host`, as a mirror shows the learner's own right hand. */
export function drawShape(host, points, name) {
  const xs = points.map(([x]) => x)
  const ys = points.map(([, y]) => y)
  const [left, top] = [Math.min(...xs) - MARGIN, Math.min(...ys) - MARGIN]
  const size = Math.max(Math.max(...xs) - left, Math.max(...ys) - top) + MARGIN
  const seen = { viewBox: `${left} ${top} ${size} ${size}`, height: 180, role: 'img', 'aria-label': `The hand for ${name}` }
  const svg = drawn('svg', seen)
  for (const part of partsOf(points)) {
    const d = `M${part.at.map(([x, y]) => `${x} ${y}`).join('L')}${part.name === 'palm' ? 'Z' : ''}`
    svg.append(drawn('path', { d }, `${part.name} edge`), drawn('path', { d }, part.name))
  }
  host.replaceChildren(svg)
}

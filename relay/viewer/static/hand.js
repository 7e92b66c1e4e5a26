// A hand as SVG lines, from 21 landmarks: over the camera's picture, or as the shape to learn.

const SVG = 'http://www.w3.org/2000/svg'
const PARENTS = [0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19]
const PALM = [0, 1, 5, 9, 13, 17]
const MARGIN = 0.25
const FAR = 0.02

function line(from, to, kind) {
  const found = document.createElementNS(SVG, 'line')
  const ends = { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }
  for (const [key, value] of Object.entries(ends)) found.setAttribute(key, value)
  if (kind) found.setAttribute('class', kind)
  return found
}

/** Draws landmarks (0 to 1 of the picture) into an SVG of viewBox 0 0 1 1; none, and it is empty. */
export function drawOver(svg, landmarks = []) {
  svg.replaceChildren(...landmarks.slice(1).map((to, index) => line(landmarks[PARENTS[index]], to)))
}

/** The bones of a shape, farthest first: {from, to, kind}. z is negative towards the one who looks. */
export function bonesOf(points) {
  return points
    .slice(1)
    .map((to, index) => {
      const from = points[PARENTS[index]]
      const depth = (from[2] + to[2]) / 2
      const kind = index < 4 ? 'thumb' : depth > FAR ? 'far' : ''
      return { from, to, depth, kind }
    })
    .sort((a, b) => b.depth - a.depth)
}

/** Draws a sign's hand into `host`, as a mirror shows the learner's own right hand. */
export function drawShape(host, points, name) {
  const svg = document.createElementNS(SVG, 'svg')
  const xs = points.map(([x]) => x)
  const ys = points.map(([, y]) => y)
  const [left, top] = [Math.min(...xs) - MARGIN, Math.min(...ys) - MARGIN]
  const size = Math.max(Math.max(...xs) - left, Math.max(...ys) - top) + MARGIN
  svg.setAttribute('viewBox', `${left} ${top} ${size} ${size}`)
  svg.setAttribute('height', '180')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', `The hand for ${name}`)
  const palm = document.createElementNS(SVG, 'path')
  palm.setAttribute('d', `M${PALM.map((at) => `${points[at][0]} ${points[at][1]}`).join('L')}Z`)
  svg.append(palm, ...bonesOf(points).map(({ from, to, kind }) => line(from, to, kind)))
  host.replaceChildren(svg)
}

// A pose as SVG, from named landmarks: limbs are drawn between landmarks that were seen.

const SVG = 'http://www.w3.org/2000/svg'
const LEAST_VISIBLE = 0.3
const HEAD_MARKS = ['NOSE', 'LEFT_EAR', 'RIGHT_EAR']
/** Of the picture's height. */
export const HEAD = 0.022
const SIDES = ['LEFT', 'RIGHT']
const LIMBS = [
  ['LEFT_SHOULDER', 'RIGHT_SHOULDER'], ['LEFT_HIP', 'RIGHT_HIP'],
  ...SIDES.flatMap((side) => [
    ['SHOULDER', 'ELBOW'], ['ELBOW', 'WRIST'], ['SHOULDER', 'HIP'], ['HIP', 'KNEE'], ['KNEE', 'ANKLE'], ['ANKLE', 'FOOT_INDEX'],
  ].map((limb) => limb.map((name) => `${side}_${name}`))),
]

/** The limbs of a pose whose ends were both seen: {from, to, right}. */
export function limbsOf(landmarks) {
  const seen = new Map(landmarks.filter((l) => (l.visibility ?? 1) >= LEAST_VISIBLE).map((l) => [l.type, l]))
  return LIMBS.filter((limb) => limb.every((name) => seen.has(name)))
    .map(([from, to]) => ({ from: seen.get(from), to: seen.get(to), right: from.startsWith('RIGHT') }))
}

/** Width over height of the picture a stored pose was seen in; null where its sender did not say. */
export function aspectOf(frame) {
  const [width, height] = frame.processing_metadata?.picture ?? []
  return width && height ? width / height : null
}

/** Draws a pose into `host`. `aspect` is the picture's width over its height; coordinates are shares of either. */
export function drawSkeleton(host, landmarks, { aspect = 1, label = 'The pose at the chosen moment' } = {}) {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', `0 0 ${aspect} 1`)
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', label)
  for (const { from, to, right } of limbsOf(landmarks)) {
    const line = document.createElementNS(SVG, 'line')
    const ends = { x1: from.x * aspect, y1: from.y, x2: to.x * aspect, y2: to.y }
    for (const [key, value] of Object.entries(ends)) line.setAttribute(key, value)
    if (right) line.setAttribute('class', 'right')
    svg.append(line)
  }
  const head = headOf(landmarks)
  if (head) {
    const circle = document.createElementNS(SVG, 'circle')
    for (const [key, value] of Object.entries({ cx: head.x * aspect, cy: head.y, r: HEAD })) circle.setAttribute(key, value)
    svg.append(circle)
  }
  host.replaceChildren(svg)
}

/** The middle of what is seen of the head, or null. */
export function headOf(landmarks) {
  const seen = landmarks.filter((l) => HEAD_MARKS.includes(l.type) && (l.visibility ?? 1) >= LEAST_VISIBLE)
  const mean = (axis) => seen.reduce((sum, l) => sum + l[axis], 0) / seen.length
  return seen.length ? { x: mean('x'), y: mean('y') } : null
}

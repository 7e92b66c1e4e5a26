// The design tokens of tokens.css for drawing on a canvas. Read by name, and again when the colour scheme changes.

const NAMES = ['card', 'ink', 'ink-2', 'ink-3', 'line', 'grid', 'live', 'heart', 'doubt', 'doubt-soft', 'stale']

/** Colours by name without the dashes (`ink2`, `doubtSoft`), and the font of labels. */
export function readTokens(element = document.documentElement) {
  const style = getComputedStyle(element)
  const get = (name) => style.getPropertyValue(`--${name}`).trim()
  const found = { font: `${get('t-xs')} ${get('sans')}` }
  for (const name of NAMES) found[name.replace(/-(\w)/g, (_, c) => c.toUpperCase())] = get(name)
  return found
}

/** Calls `changed` when the person's colour scheme changes. */
export function onSchemeChange(changed) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed)
}

export const prefersStill = () => matchMedia('(prefers-reduced-motion: reduce)').matches

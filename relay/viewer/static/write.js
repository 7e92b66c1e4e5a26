// Texts into the page by element id, touching only what changed: a selection stays, a screen reader is not told twice.

export const $ = (id) => document.getElementById(id)

/** `texts`: {id: text}. */
export function write(texts) {
  for (const [id, text] of Object.entries(texts)) put($(id), text)
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text
}

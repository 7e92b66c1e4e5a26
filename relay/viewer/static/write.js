// Texts, elements and files of the page. Text is never interpreted as markup. Unchanged text is not rewritten, so that
// a selection survives and a screen reader does not repeat it.

export const $ = (id) => document.getElementById(id)

/** `texts`: {id: text}. */
export function write(texts) {
  for (const [id, text] of Object.entries(texts)) put($(id), text)
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** An element with properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

/** A state in a word or two, in one of the tones of tokens.css. */
export function pillOf(textContent, tone) {
  const made = element('span', { className: 'pill', textContent })
  made.dataset.tone = tone
  return made
}

/** Gives the reader a file to keep; a browser may take a while to ask where. */
export function save(blob, download) {
  const href = URL.createObjectURL(blob)
  element('a', { href, download }).click()
  setTimeout(() => URL.revokeObjectURL(href), 60_000)
}

// Displays the state of the measuring page: its texts come from measurewords.js, its elements from the page.

import { duration, stopwatch } from './formats.js'
import { kept, notice, pill, watching } from './measurewords.js'
import { $, element, put, write } from './write.js'

/** `facts`: those of measurewords.notice, and viewers, keptMs, elapsedMs, saved, link (the viewer's address or ''). */
export function showMeasuring(facts) {
  const { phase, socket, viewers, keptMs, onDisk, elapsedMs, saved, link } = facts
  const connected = socket?.phase === 'open'
  const { tone, words } = pill(phase, connected)
  $('state').dataset.tone = tone
  const keptWords = kept(keptMs, connected, onDisk)
  write({
    state: words,
    elapsed: stopwatch(elapsedMs),
    watching: watching(viewers, connected),
    kept: keptWords,
    'finishing-text': keptMs ? `${keptWords}.` : 'Closing the session.',
    saved: `${elapsedMs ? `Measured for ${duration(elapsedMs)}.` : ''}${saved}`.trim(),
  })
  showLink(link)
  showNotice(notice(facts))
}

function showLink(url) {
  for (const part of document.querySelectorAll('[data-link]')) part.hidden = !url
  for (const link of document.querySelectorAll('[data-link] a')) {
    if (url) link.href = url
    put(link, url)
  }
}

function showNotice(said) {
  $('notice').hidden = !said
  $('notice-action').hidden = !said?.action
  if (!said) return
  $('notice').dataset.tone = said.tone
  write({ 'notice-head': said.head, 'notice-text': said.text, 'notice-action': said.action ?? '' })
}

/** Lines of advice with a mark each: done, not yet, or being looked at. */
export function showAdvice(lines) {
  const items = lines.map(({ ok, words }) => {
    const item = element('li', { textContent: words })
    item.dataset.ok = String(ok)
    return item
  })
  const list = $('advice')
  const same = items.length === list.children.length && items.every((item, i) => item.isEqualNode(list.children[i]))
  if (!same) list.replaceChildren(...items)
}

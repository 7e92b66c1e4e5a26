// Releases on the fleet page: shows the progress of rollouts, which can be paused, resumed and widened; a form starts a
// rollout and shows beforehand which kits it concerns; bundles can be uploaded. The relay decides when a rollout halts.

import { request } from './care.js'
import { foreseenWords, megabytes, nextStep, releaseWords, rolloutWords, SHARES } from './fleetwords.js'
import { failureWords } from './requests.js'
import { $, element } from './write.js'

const API = '/fleet/api/v1'
const MOST_SHOWN = 5
const MOST_FAILED = [0, 1, 5, 10, 20]
let changed = () => {}
let tagsShown = null

const say = (words) => { $('updates-said').textContent = words }

/** Runs a wish; a refusal is told in the relay's own words. */
async function wish(work, done) {
  try {
    await work()
    say(done)
    changed()
  } catch (error) {
    say(failureWords(error))
  }
}

const roll = ({ version, tag, percent, most_failed = 5 }) =>
  request(`${API}/rollouts`, { method: 'POST', body: { version, tag, percent, most_failed } })

function bar({ members, done, failed }) {
  const parts = [['done', done], ['failed', failed]].map(([what, kits]) => {
    const part = element('span', { className: what })
    part.style.width = `${members ? (kits / members) * 100 : 0}%`
    return part
  })
  const made = element('div', { className: 'bar-of' }, ...parts)
  made.ariaHidden = 'true'
  return made
}

function press(words, work, done) {
  const button = element('button', { type: 'button', textContent: words })
  button.addEventListener('click', () => wish(work, done))
  return button
}

function wishes(rollout) {
  const { version, state, percent, progress } = rollout
  const made = []
  if (state === 'running' && progress.waiting) {
    made.push(press('Pause', () => request(`${API}/rollouts/${rollout.id}/pause`, { method: 'POST' }), `${version} is paused.`))
  }
  if (state !== 'running') {
    const words = state === 'halted' ? 'Go on all the same' : 'Go on'
    made.push(press(words, () => roll(rollout), `${version} goes on.`))
  }
  const next = nextStep(percent)
  if (state === 'running' && next) {
    made.push(press(`Widen to ${next} %`, () => roll({ ...rollout, percent: next }), `${version} goes to ${next} % now.`))
  }
  for (const button of made) button.setAttribute('aria-label', `${button.textContent}: ${version}`)
  return made
}

function line(rollout) {
  const words = element('span', { textContent: rolloutWords(rollout) })
  const made = element('li', {}, words, bar(rollout.progress), element('div', { className: 'wishes' }, ...wishes(rollout)))
  made.dataset.state = rollout.state
  return made
}

/** The rollouts as they are, the newest first, and the tags there are. The button that has the focus keeps it. */
export function showUpdates(rollouts, tags) {
  const focused = document.activeElement?.closest('#rollouts button')?.ariaLabel
  $('rollouts').hidden = !rollouts.length
  $('rollouts').replaceChildren(...rollouts.slice(0, MOST_SHOWN).map(line))
  if (focused) [...$('rollouts').querySelectorAll('button')].find((each) => each.ariaLabel === focused)?.focus()
  if (tags.join() === tagsShown) return
  tagsShown = tags.join()
  const picked = $('roll-tag').value
  options('roll-tag', [['', 'all kits'], ...tags.map((tag) => [tag, `the kits tagged ${tag}`])], picked)
}

function options(id, pairs, picked) {
  $(id).replaceChildren(...pairs.map(([value, textContent]) => element('option', { value: String(value), textContent })))
  if (pairs.some(([value]) => String(value) === picked)) $(id).value = picked
}

const wanted = () => ({
  version: $('roll-version').value,
  tag: $('roll-tag').value,
  percent: Number($('roll-percent').value),
  most_failed: Number($('roll-failed').value),
})

async function foresee() {
  const { version, tag, percent } = wanted()
  if (!version) return
  const query = new URLSearchParams({ version, tag, percent })
  const found = await request(`${API}/rollouts/foreseen?${query}`).catch((error) => {
    say(error.message)
  })
  if (found && $('roll-version').value === version) $('roll-meets').textContent = foreseenWords(found)
}

async function releases() {
  const found = (await request(`${API}/releases`)).releases
  const versions = [...new Map(found.map((release) => [release.version, releaseWords(release)]))]
  options('roll-version', versions, $('roll-version').value)
  $('roll').hidden = !versions.length
  $('roll-none').hidden = versions.length > 0
  await foresee()
}

async function publish(file) {
  say(`Sending ${megabytes(file.size)}.`)
  const made = await request(`${API}/releases`, { method: 'PUT', body: file })
  await releases()
  $('roll-version').value = made.version
  await foresee()
}

/** Once; `then` is called when something was done. */
export function openUpdates(then) {
  changed = then
  options('roll-percent', SHARES.map((share) => [share, `${share} %`]), '10')
  options('roll-failed', MOST_FAILED.map((share) => [share, share ? `more than ${share} %` : 'any at all']), '5')
  $('begin').addEventListener('toggle', () => $('begin').open && releases().catch((error) => say(error.message)))
  for (const id of ['roll-version', 'roll-tag', 'roll-percent']) $(id).addEventListener('change', foresee)
  $('roll').addEventListener('submit', (event) => {
    event.preventDefault()
    const asked = wanted()
    wish(() => roll(asked), `The rollout of ${asked.version} has begun.`)
  })
  $('publish').addEventListener('submit', (event) => {
    event.preventDefault()
    const [file] = $('bundle').files
    if (file) wish(() => publish(file), 'The bundle is signed by a key this relay trusts, and was taken in.')
    else say('Choose a signed bundle first.')
  })
}

// The cameras: a wall of all that may be seen, or a single one. Each tile shows its own state.

import { Announcer } from './announce.js'
import { tokenIn, withToken } from './api.js'
import { ask, Player } from './player.js'
import { HEAD, headOf, limbsOf } from './skeleton.js'
import { Taping } from './taping.js'
import { describe, old, qualityWords } from './watchwords.js'
import { $, element, save } from './write.js'

const EVERY_MS = 4000
const ANSWERED_WITHIN_MS = 8000
const MOST = 9
const LINE = 4

/** A camera's tile: the player's facts become words, its frames a picture with the skeleton on it. */
class Tile {
  constructor(source, name, token, announce) {
    this.element = $('camera').content.firstElementChild.cloneNode(true)
    this.parts = Object.fromEntries([...this.element.querySelectorAll('[data-part]')].map((part) => [part.dataset.part, part]))
    this.name = name
    this.announce = announce
    this.shown = true
    this.exact = 0
    const { video, skeleton, full, snapshot } = this.parts
    this.parts.name.textContent = name
    if (source.kit) this.parts.name.href = withToken(`/watch/${source.kit}`, token)
    video.setAttribute('aria-label', `Picture of ${name}`)
    skeleton.addEventListener('click', () => this.#toggle())
    full.addEventListener('click', () => (document.fullscreenElement ? document.exitFullscreen() : this.parts.picture.requestFullscreen()))
    snapshot.addEventListener('click', () => this.#save())
    this.player = new Player(video, source, token, {
      onFrame: (rtp) => this.#drawAt(rtp),
      onPose: () => this.player?.level === 'skeleton' && this.#draw(this.player.poses.newest, false),
      onChange: () => this.show(),
    })
    this.taping = source.kit ? new Taping(this.parts, source.kit, token) : null
    this.show()
  }

  show() {
    const player = this.player
    if (!player) return
    const { tone, pill, words, stale } = describe({ ...player, now: Date.now() })
    const { state, video, words: told, quality, snapshot } = this.parts
    if (state.textContent !== pill) state.textContent = pill
    state.dataset.tone = tone
    if (told.textContent !== words) told.textContent = words
    told.hidden = !words
    told.classList.toggle('calm', tone !== 'doubt')
    video.classList.toggle('stale', stale)
    video.hidden = player.level === 'skeleton'
    snapshot.disabled = stale || tone !== 'live' || player.lastAt === null
    const graded = tone === 'live' && !stale ? qualityWords(player.quality) : ''
    if (quality.textContent !== graded) quality.textContent = graded
    this.announce(`${this.name}: ${pill.replace(/ · .*/, '')}. ${words}`)
    if (stale && (player.level !== 'skeleton' || old(player.posedAt, Date.now()))) this.#clear()
  }

  end() {
    this.player.end()
    this.element.remove()
  }

  #toggle() {
    this.shown = !this.shown
    this.parts.skeleton.setAttribute('aria-pressed', String(this.shown))
    this.player.hold(this.shown)
    if (!this.shown) this.#clear()
  }

  #drawAt(rtp) {
    if (!this.shown) return
    const found = this.player.poses.of(rtp)
    if (!found) return this.#clear()
    this.exact += found.lateMs === 0
    this.element.dataset.exact = this.exact
    this.#draw(found.pose, found.lateMs > 0)
  }

  #draw(pose, late) {
    const context = this.#clear()
    if (!pose?.landmarks || !this.shown) return
    const { x, y, width, height } = this.#picture(pose)
    const style = getComputedStyle(document.documentElement)
    context.lineWidth = LINE * devicePixelRatio
    context.lineCap = 'round'
    context.setLineDash(late ? [8, 8] : [])
    for (const { from, to, right } of limbsOf(pose.landmarks)) {
      context.strokeStyle = style.getPropertyValue(right ? '--doubt' : '--live')
      context.beginPath()
      context.moveTo(x + from.x * width, y + from.y * height)
      context.lineTo(x + to.x * width, y + to.y * height)
      context.stroke()
    }
    const head = headOf(pose.landmarks)
    if (!head) return
    context.fillStyle = style.getPropertyValue('--live')
    context.beginPath()
    context.arc(x + head.x * width, y + head.y * height, HEAD * height, 0, 2 * Math.PI)
    context.fill()
  }

  #clear() {
    const { overlay } = this.parts
    const [width, height] = [overlay.clientWidth * devicePixelRatio, overlay.clientHeight * devicePixelRatio].map(Math.round)
    if (overlay.width !== width || overlay.height !== height) Object.assign(overlay, { width, height })
    const context = overlay.getContext('2d')
    context.clearRect(0, 0, overlay.width, overlay.height)
    return context
  }

  /** Where the picture stands within its box, which takes the picture's shape where the screen has room for that. */
  #picture({ size: [wide, high] = [4, 3] }) {
    const { overlay, picture, video } = this.parts
    const seen = !video.hidden && video.videoWidth > 0
    const shape = seen ? video.videoWidth / video.videoHeight : wide / high
    picture.style.aspectRatio = String(shape)
    const width = Math.min(overlay.width, overlay.height * shape)
    const height = width / shape
    return { x: (overlay.width - width) / 2, y: (overlay.height - height) / 2, width, height }
  }

  /** The picture as it is seen now, into a file of the viewer's own. */
  #save() {
    const { video } = this.parts
    const canvas = element('canvas', { width: video.videoWidth, height: video.videoHeight })
    canvas.getContext('2d').drawImage(video, 0, 0)
    const moment = new Date().toISOString().slice(0, 19).replaceAll(':', '-')
    canvas.toBlob((blob) => save(blob, `${this.name} ${moment}.png`))
  }
}

function state(tone, words) {
  $('state').dataset.tone = tone
  if ($('state').textContent !== words) $('state').textContent = words
}

function notice(head, text) {
  $('notice').hidden = !head
  $('notice-head').textContent = head
  $('notice-text').textContent = text
}

function one(kit, token) {
  const announcer = new Announcer($('announcements'))
  $('title').textContent = `Camera of ${kit}`
  document.title = `${kit} · Homeside`
  $('cameras').classList.add('one')
  $('wall').hidden = false
  const tile = new Tile(kit === 'sample' ? { video_path: 'sample_video.mp4' } : { kit }, kit, token, (words) => announcer.state(words))
  tile.parts.head.classList.add('quiet')
  tile.parts.name.removeAttribute('href')
  $('cameras').append(tile.element)
  setInterval(() => state(tile.parts.state.dataset.tone, tile.parts.state.textContent), 250)
  const listed = async () => {
    const found = await lines(token)
    if (found) tile.taping.show(found.find((line) => line.kit === kit))
  }
  if (tile.taping) listed().then(() => setInterval(() => document.visibilityState === 'visible' && listed(), EVERY_MS))
  addEventListener('pagehide', () => tile.end())
}

/** What the relay lists of the cameras; null where it does not say. */
async function lines(token) {
  const answer = await ask('/cameras', token, { signal: AbortSignal.timeout(ANSWERED_WITHIN_MS) }).catch(() => null)
  return answer?.ok ? (await answer.json()).cameras : null
}

async function wall(token) {
  const tiles = new Map()
  const refresh = async () => {
    const answer = await ask('/cameras', token, { signal: AbortSignal.timeout(ANSWERED_WITHIN_MS) }).catch(() => null)
    if (!answer?.ok) return unreachable(answer)
    const listed = (await answer.json()).cameras.slice(0, MOST)
    const found = listed.map((camera) => camera.kit)
    for (const [kit, tile] of tiles) if (!found.includes(kit)) tiles.delete(kit) && tile.end()
    for (const kit of found.filter((name) => !tiles.has(name))) {
      const tile = new Tile({ kit }, kit, token, () => {})
      tiles.set(kit, tile)
      $('cameras').append(tile.element)
    }
    for (const line of listed) tiles.get(line.kit).taping.show(line)
    state(found.length ? 'live' : 'off', found.length ? `${found.length} ${found.length === 1 ? 'camera' : 'cameras'}` : 'No camera now')
    notice(found.length ? '' : 'No camera sends a picture now', found.length ? '' : 'A kit’s camera appears here by itself when its patient shows a picture.')
  }
  await refresh()
  setInterval(() => document.visibilityState === 'visible' && refresh(), EVERY_MS)
  addEventListener('pagehide', () => tiles.forEach((tile) => tile.end()))
}

function unreachable(answer) {
  if ([401, 403].includes(answer?.status)) {
    state('off', 'Not allowed')
    notice('Not allowed', 'The cameras are for staff. Open the link you were given.')
  } else {
    state('doubt', 'Relay not reached')
    notice('The relay does not answer', 'This page keeps asking.')
  }
}

const token = tokenIn(location.href)
const kit = decodeURIComponent(location.pathname.split('/')[2] ?? '')
$('wall').href = withToken('/watch', token)
if (kit) one(kit, token)
else wall(token)

// The patient's page that turns a phone into a sensor: introduction, placement check, measuring, and a clean end. It
// controls the order of these steps; the modules it connects decide what is stored, sent, drawn and said.

import { Awake } from './awake.js'
import { createSession, endSession, placeOf, tokenIn, withToken } from './api.js'
import { deliver, lockOf } from './leftovers.js'
import { LiveLine } from './liveline.js'
import { showAdvice, showMeasuring } from './measureview.js'
import { SCREEN_MAY_SLEEP, startFailure } from './measurewords.js'
import { Outbox, Shelf } from './outbox.js'
import { advice, Placement } from './placement.js'
import { askPermission, openSensor } from './sensor.js'
import { SteadyClock } from './steadyclock.js'
import { Uplink } from './uplink.js'
import { $, write } from './write.js'

const TICK_MS = 250
const STEADY_MS = 1000
const OFFER_BEGIN_MS = 6000
const END_AGAIN_MS = 3000
const AWAY_FROM_MS = 1000
const RAW_GAP_MS = 100
const LEAST_HZ = 20
const USUAL_HZ = 60

class MeasurePage {
  #place = placeOf(location)
  #clock = new SteadyClock()
  #phase = 'intro'
  #shelf = null
  #row = null
  #outbox = null
  #uplink = null
  #sensor = null
  #line = null
  #placement = new Placement()
  #awake = new Awake((held) => write({ screen: held ? '' : SCREEN_MAY_SLEEP }))
  #lastAt = null
  #steadyFrom = null
  #checkingFrom = 0
  #begunAt = null
  #elapsedMs = 0
  #awayMs = 0
  #ending = false
  #saved = ''

  async start() {
    $('start').addEventListener('click', () => this.#begin())
    $('begin').addEventListener('click', () => this.#measure())
    $('finish').addEventListener('click', () => this.#finish())
    $('notice-action').addEventListener('click', () => this.#act())
    for (const button of document.querySelectorAll('[data-share]'))
      button.addEventListener('click', () => this.#share())
    document.addEventListener('visibilitychange', () => this.#clock.woke())
    setInterval(() => this.#tick(), TICK_MS)
    this.#enter('intro')
    this.#shelf = await Shelf.open()
    await this.#takeUp()
    $('start').disabled = false
  }

  // -- what an earlier run of this page left behind ----------------------------------------------------------------

  async #takeUp() {
    for (const row of (await this.#shelf?.sessions().catch(() => [])) ?? []) {
      if (row.session !== this.#place.session) deliver(row, this.#shelf)
      else {
        this.#row = row
        await this.#connect()
        if (row.ending) this.#enter('finishing')
        else write({ start: 'Go on measuring' })
      }
    }
  }

  // -- the order of things ---------------------------------------------------------------------------------------

  async #begin() {
    $('start').disabled = true
    write({ 'start-failure-head': '', 'start-failure-text': '' })
    try {
      await askPermission()
      this.#sensor ??= await openSensor(this.#clock, (...sample) => this.#sample(...sample))
      if (!this.#row) await this.#newSession()
      if (!this.#uplink) await this.#connect()
      await this.#awake.start()
      this.#checkingFrom = performance.now()
      this.#enter('checking')
    } catch (error) {
      const { head, text } = startFailure(error)
      write({ 'start-failure-head': head, 'start-failure-text': text })
    }
    $('start').disabled = false
  }

  async #newSession() {
    const { session, token } = this.#place
    const begun = { startedAt: Date.now(), ending: false }
    if (session)
      this.#row = { session, token, viewerUrl: token ? null : `${location.origin}/view/${session}`, ...begun }
    else {
      const made = await createSession(token)
      const own = tokenIn(made.websocketUrl) ?? token
      this.#row = { session: made.sessionId, token: own, viewerUrl: made.viewerUrl, ...begun }
      history.replaceState(null, '', withToken(`/measure/${made.sessionId}`, own))
    }
    await this.#remember()
  }

  #remember = () => this.#shelf?.putSession(this.#row).catch(() => null)

  async #connect() {
    navigator.locks?.request(lockOf(this.#row.session), () => new Promise(() => {}))
    this.#outbox = new Outbox(this.#shelf)
    await this.#outbox.restore(this.#row.session)
    this.#uplink = new Uplink(this.#row.session, this.#row.token, this.#outbox, this.#clock, () => this.#tick())
    this.#uplink.start()
  }

  #sample(t, x, y, z) {
    const now = performance.now()
    if (this.#phase === 'measuring' && now - this.#lastAt > AWAY_FROM_MS) this.#awayMs += now - this.#lastAt
    this.#lastAt = now
    this.#placement.take(t, x, y, z)
    if (this.#phase !== 'measuring') return
    this.#uplink.take(t, x, y, z)
    this.#line.take([[t, z]], now)
  }

  #check(now) {
    const { verdict } = this.#placement
    showAdvice(advice(verdict))
    const steady = verdict.enough && verdict.fast && verdict.flat && verdict.still
    this.#steadyFrom = steady ? (this.#steadyFrom ?? now) : null
    if (steady && now - this.#steadyFrom >= STEADY_MS) this.#measure()
    $('begin').hidden = now - this.#checkingFrom < OFFER_BEGIN_MS || (verdict.enough && verdict.rateHz < LEAST_HZ)
  }

  #measure() {
    this.#enter('measuring')
    this.#lastAt = performance.now()
    this.#begunAt ??= this.#lastAt
    this.#line ??= new LiveLine($('wave'), RAW_GAP_MS, { axes: false })
    this.#line.run()
  }

  async #finish() {
    this.#stopSensing()
    this.#row.ending = true
    await this.#remember()
    this.#enter('finishing')
  }

  #stopSensing() {
    this.#sensor?.stop()
    this.#sensor = null
    this.#awake.stop()
    this.#line?.stop()
    if (this.#begunAt !== null) this.#elapsedMs = performance.now() - this.#begunAt
  }

  /** When all is acknowledged: end the session at the relay, then forget it here. Tried until it is so. */
  async #end() {
    if (this.#ending || !this.#uplink.settled || this.#uplink.phase !== 'open') return
    this.#ending = true
    try {
      await endSession(this.#row.session, this.#row.token)
      this.#saved += ' All of it is stored.'
      this.#done()
    } catch {
      setTimeout(() => (this.#ending = false), END_AGAIN_MS)
    }
  }

  #endedElsewhere() {
    this.#saved = ' The session was ended from elsewhere.'
    this.#stopSensing()
    this.#row.ending = true
    this.#enter('finishing')
  }

  async #done() {
    this.#uplink.stop()
    await this.#shelf?.dropSession(this.#row.session).catch(() => null)
    this.#enter('done')
  }

  #act() {
    if (this.#phase !== 'finishing' && this.#uplink?.phase === 'open') {
      this.#sensor?.stop()
      this.#sensor = null
      this.#begin()
    } else this.#uplink?.socket.tryNow()
  }

  async #share() {
    const { viewerUrl: url } = this.#row
    try {
      if (navigator.share) await navigator.share({ title: 'Homeside', text: 'My heartbeat, live', url })
      else {
        await navigator.clipboard.writeText(url)
        write({ shared: 'The link is copied. Paste it into a message to your physician.' })
      }
    } catch (error) {
      if (error.name !== 'AbortError')
        write({ shared: 'The link could not be copied. Select it above and copy it by hand.' })
    }
  }

  // -- what is shown ---------------------------------------------------------------------------------------------

  #enter(phase) {
    const changed = this.#phase !== phase
    this.#phase = phase
    document.body.dataset.phase = phase
    for (const part of document.querySelectorAll('[data-phases]'))
      part.hidden = !part.dataset.phases.split(' ').includes(phase)
    if (changed) document.querySelector(`[data-phases~="${phase}"] h1`)?.focus()
    this.#tick()
  }

  #tick() {
    const now = performance.now()
    if (this.#phase === 'checking') this.#check(now)
    if (this.#phase === 'finishing' && this.#uplink) this.#end()
    if (this.#phase === 'measuring' && this.#uplink?.ended) this.#endedElsewhere()
    if (this.#phase === 'measuring') this.#elapsedMs = now - this.#begunAt
    this.#show(now)
  }

  #show(now) {
    const uplink = this.#uplink
    const outbox = this.#outbox
    const rateHz = this.#placement.verdict.rateHz || USUAL_HZ
    const msOf = (samples) => ((samples ?? 0) / rateHz) * 1000
    showMeasuring({
      phase: this.#phase,
      socket: uplink?.socket ?? null,
      problem: uplink?.problem ?? null,
      viewers: uplink?.viewers ?? 0,
      onDisk: outbox?.onDisk ?? false,
      keptMs: msOf(outbox?.samples),
      droppedMs: msOf(outbox?.dropped),
      awayMs: this.#awayMs,
      silentMs: this.#lastAt === null ? 0 : now - this.#lastAt,
      elapsedMs: this.#elapsedMs,
      saved: this.#saved,
      link: this.#row?.viewerUrl ?? '',
    })
  }
}

new MeasurePage().start()

// Measured samples that are not yet acknowledged. Bounded; stored in the browser's database where there is one, so that
// a reload loses nothing. When the limit is reached, the oldest are dropped and counted.

const NAME = 'homeside'
const MOST_BYTES = 32 * 1024 * 1024

/** The database of unsent batches and of the sessions they belong to. Every method gives a promise. */
export class Shelf {
  #db

  /** Opens it, or gives null where the browser keeps nothing (private windows, full disks). */
  static async open() {
    try {
      const opening = indexedDB.open(NAME, 1)
      opening.onupgradeneeded = () => {
        opening.result.createObjectStore('batches', { keyPath: ['session', 'boot', 'seq'] })
        opening.result.createObjectStore('sessions', { keyPath: 'session' })
      }
      return new Shelf(await done(opening))
    } catch {
      return null
    }
  }

  constructor(db) {
    this.#db = db
  }

  putBatch = (batch) => done(this.#store('batches', 'readwrite').put(batch))
  dropBatch = ({ session, boot, seq }) => done(this.#store('batches', 'readwrite').delete([session, boot, seq]))
  batchesOf = (session) => done(this.#store('batches').getAll(IDBKeyRange.bound([session], [session, []])))
  putSession = (row) => done(this.#store('sessions', 'readwrite').put(row))
  dropSession = (session) => done(this.#store('sessions', 'readwrite').delete(session))
  session = (session) => done(this.#store('sessions').get(session))
  sessions = () => done(this.#store('sessions').getAll())

  #store(name, mode = 'readonly') {
    return this.#db.transaction(name, mode).objectStore(name)
  }
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

/** One session's unacknowledged batches, oldest first. A batch is {session, boot, seq, samples, body}. */
export class Outbox {
  #kept = new Map()
  #bytes = 0
  #samples = 0
  #shelf
  #most
  dropped = 0
  onFault = () => {}

  /** `shelf` may be null: then a reload loses what is here, and the page says so. */
  constructor(shelf, most = MOST_BYTES) {
    this.#shelf = shelf
    this.#most = most
  }

  get onDisk() {
    return this.#shelf !== null
  }

  get size() {
    return this.#kept.size
  }

  get samples() {
    return this.#samples
  }

  [Symbol.iterator]() {
    return this.#kept.values()
  }

  /** Brings back what an earlier run of the page left; gives the number of batches. */
  async restore(session) {
    const found = (await this.#tried(() => this.#shelf.batchesOf(session))) ?? []
    found.sort((a, b) => a.begun - b.begun || a.seq - b.seq)
    const newer = [...this.#kept.values()]
    this.#kept.clear()
    for (const batch of [...found, ...newer]) this.#kept.set(keyOf(batch), { ...batch, sentAt: null })
    this.#bytes = this.#samples = 0
    for (const batch of this.#kept.values()) this.#count(batch, 1)
    return found.length
  }

  add(batch) {
    this.#kept.set(keyOf(batch), { ...batch, sentAt: null })
    this.#count(batch, 1)
    this.#tried(() => this.#shelf.putBatch(batch))
    while (this.#bytes > this.#most && this.#kept.size > 1) {
      const oldest = this.#kept.values().next().value
      this.dropped += oldest.samples
      this.#remove(oldest)
    }
  }

  /** Forget what the relay has committed: `ranges` of sequence numbers, both ends included. */
  acknowledge(boot, ranges) {
    for (const batch of [...this.#kept.values()]) {
      if (batch.boot === boot && ranges.some(([from, to]) => from <= batch.seq && batch.seq <= to)) this.#remove(batch)
    }
  }

  #remove(batch) {
    this.#kept.delete(keyOf(batch))
    this.#count(batch, -1)
    this.#tried(() => this.#shelf.dropBatch(batch))
  }

  #count(batch, sign) {
    this.#bytes += sign * batch.body.length
    this.#samples += sign * batch.samples
  }

  /** A shelf that fails is put aside: measuring goes on in memory, and the page says so. */
  async #tried(work) {
    if (!this.#shelf) return null
    try {
      return await work()
    } catch (error) {
      this.#shelf = null
      this.onFault(error)
      return null
    }
  }
}

const keyOf = ({ boot, seq }) => `${boot} ${seq}`

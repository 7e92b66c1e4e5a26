// A detection or a translation in words. Pure: messages in, texts out.

const SPACE = '␣'

/** The large letter, whether it is sure, and the words beside it. */
export function nowOf({ sign, confidence, hand_detected: hand, alternatives = [] }) {
  if (!hand) return { letter: '', sure: 'no', words: 'No hand in the picture' }
  if (sign === null) {
    const [best, next] = alternatives
    if (!best) return { letter: '?', sure: 'no', words: 'A hand, but no letter' }
    const or = next ? ` or ${next.sign}` : ''
    return { letter: '?', sure: 'no', words: `Not sure: perhaps ${best.sign}${or}` }
  }
  const other = alternatives.find((one) => one.sign !== sign)
  const beside = other && other.confidence > 0.1 ? `, perhaps ${other.sign}` : ''
  return { letter: sign === '5' ? SPACE : sign, sure: 'yes', words: `Sure, ${Math.round(confidence * 100)} %${beside}` }
}

export const spelled = (letters) => letters.map((one) => (one === ' ' ? SPACE : one)).join(' ') || '–'

/** The sentence, what to know of it, and other readings. */
export function saidOf({ translation, confidence, fallback, alternatives = [] }) {
  const how = fallback ? 'Put together from the letters alone' : 'Put together by the language model'
  const trust = confidence >= 0.7 ? 'likely right' : confidence >= 0.4 ? 'uncertain: ask back' : 'very uncertain: ask back'
  return {
    sentence: translation,
    doubt: `${how}; ${trust}.`,
    others: alternatives.length ? `Or: ${alternatives.join(' · ')}` : '',
  }
}

const STATES = {
  idle: ['Camera off', 'off'],
  connecting: ['Connecting', 'off'],
  live: ['Reading your hand', 'live'],
  watching: ['Watching', 'live'],
  lost: ['Lost, trying again', 'doubt'],
  refused: ['Not allowed', 'doubt'],
  unavailable: ['No hand reader', 'doubt'],
}

export const stateOf = (state) => ({ text: STATES[state][0], tone: STATES[state][1] })

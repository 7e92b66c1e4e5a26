// Sign-in: afterwards opens the page that was asked for, or the person's start page; at once for somebody already
// signed in.

import { homeOf, me, refresh, signIn, state } from './care.js'
import { failureWords, Refused } from './requests.js'
import { $ } from './write.js'

const wanted = new URL(location.href).searchParams.get('next')
const inside = wanted !== null && /^\/app\/[\w/-]*$/.test(wanted)

const goOn = (user) => location.replace(inside ? wanted : homeOf(user))

async function submit(event) {
  event.preventDefault()
  const { email, password } = event.target.elements
  $('message').textContent = ''
  state('off', 'Signing in')
  try {
    goOn(await signIn(email.value, password.value))
  } catch (error) {
    state('doubt', 'Not signed in')
    $('message').textContent = failureWords(error)
    password.select()
  }
}

state('off', inside ? 'Sign in to go on' : 'Not signed in')
$('form').addEventListener('submit', submit)
try {
  goOn(me() ?? (await refresh()))
} catch (error) {
  if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error
}

// Signing in: then on to where one wanted to go, or belongs.

import { $, homeOf, Refused, signIn, state } from './care.js'

const wanted = new URL(location.href).searchParams.get('next')
const inside = wanted !== null && /^\/app\/[\w/-]*$/.test(wanted)

async function submit(event) {
  event.preventDefault()
  const { email, password } = event.target.elements
  $('message').textContent = ''
  state('off', 'Signing in')
  try {
    const user = await signIn(email.value, password.value)
    location.href = inside ? wanted : homeOf(user)
  } catch (error) {
    state('doubt', 'Not signed in')
    $('message').textContent = error instanceof Refused ? error.message : 'The relay does not answer. Try again.'
    password.select()
  }
}

state('off', inside ? 'Sign in to go on' : 'Not signed in')
$('form').addEventListener('submit', submit)

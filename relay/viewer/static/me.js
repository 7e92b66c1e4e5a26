// A patient's own page: consent to recording, and their sessions with the reviews received.

import { download, page, request, where } from './care.js'
import { list, sessionLine } from './carelines.js'
import { failureWords } from './requests.js'
import { $, save } from './write.js'

function showConsent(profile) {
  const agreed = profile.consent_given
  $('consent').textContent = agreed
    ? 'You agreed that your exercises are recorded and seen by your physiotherapist.'
    : 'Nothing is recorded until you agree that your exercises are seen by your physiotherapist.'
  $('agree').textContent = agreed ? 'Withdraw my agreement' : 'I agree'
  $('agree').className = agreed ? '' : 'main'
  $('agree').onclick = async () => showConsent((await request('/patients/profile', {
    method: 'PUT', body: { consent_given: !agreed },
  })).data)
}

async function saveAll() {
  $('export').disabled = true
  $('exported').textContent = 'Gathering it.'
  try {
    save(await download('/patients/export'), 'my-homeside-data.zip')
    $('exported').textContent = 'Saved.'
  } catch (error) {
    $('exported').textContent = failureWords(error)
  }
  $('export').disabled = false
}

where(['My exercises'])
page(async () => {
  showConsent((await request('/patients/profile')).data)
  $('export').addEventListener('click', saveAll)
  const line = (session) => sessionLine(session, false)
  await list($('sessions'), '/patients/sessions', line, 'No session yet. Your physiotherapist plans the first.')
})

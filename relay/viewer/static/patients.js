// A physiotherapist's start: what waits for a review, and whose patients they are.

import { $, page, request } from './care.js'
import { nothing, patientLine, sessionLine } from './carelines.js'

page(async () => {
  const [waiting, patients] = await Promise.all([
    request('/physio/sessions?per_page=50'), request('/physio/patients?per_page=100'),
  ])
  const lines = waiting.data.map((session) => sessionLine(session, true))
  $('waiting').replaceChildren(...(lines.length ? lines : [nothing('Nothing waits for you.')]))
  const people = patients.data.map(patientLine)
  $('patients').replaceChildren(...(people.length ? people : [nothing('Nobody is assigned to you yet. Whoever runs this relay does that.')]))
})

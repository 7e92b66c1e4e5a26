// A physiotherapist's start: what waits for a review, and whose patients they are.

import { page, where } from './care.js'
import { list, patientLine, sessionLine } from './carelines.js'
import { $ } from './write.js'

where(['Patients'])
page(() => Promise.all([
  list($('waiting'), '/physio/sessions', (session) => sessionLine(session, true), 'Nothing waits for you.'),
  list($('patients'), '/physio/patients', patientLine, 'Nobody is assigned to you yet. Whoever runs this relay does that.'),
]))

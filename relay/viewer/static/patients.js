// A physiotherapist's start page: sessions that wait for a review, and the assigned patients.

import { page, where } from './care.js'
import { list, patientLine, sessionLine } from './carelines.js'
import { $ } from './write.js'

where(['Patients'])
page(() => Promise.all([
  list($('waiting'), '/physio/sessions', (session) => sessionLine(session, true), 'Nothing waits for you.'),
  list($('patients'), '/physio/patients', patientLine, 'Nobody is assigned to you yet. Whoever runs this relay does that.'),
]))

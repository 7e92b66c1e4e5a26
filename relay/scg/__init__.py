"""OpenSCG: live seismocardiography sessions (port 8000, prefix /scg)."""

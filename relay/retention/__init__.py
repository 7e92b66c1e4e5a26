"""How long recordings are kept, and at what rate, by the operator's policy; without one nothing is removed."""

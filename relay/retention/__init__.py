"""How long recordings are kept, and how finely, by the operator's policy; nothing is ever removed without one."""

"""The program on the Raspberry Pi: reads sensors, keeps every sample until it is acknowledged."""

"""The program on the Raspberry Pi: reads the sensors and keeps every sample until it is acknowledged."""

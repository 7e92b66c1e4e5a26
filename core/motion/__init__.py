"""Movement of the body: landmarks to joint angles, angles to repetitions, repetitions to what could be better."""

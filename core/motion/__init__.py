"""Movement of the body: from landmarks to joint angles, to repetitions, to findings on form."""

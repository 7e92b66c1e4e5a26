"""The kit's picture to the relay: from the slot, blurred or withheld as the patient wishes, encoded once, sent."""

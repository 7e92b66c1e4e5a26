"""The kit's camera pictures to the relay: from the slot, blurred or withheld as the patient wishes,
encoded once, sent.
"""

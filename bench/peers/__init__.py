"""Other tools for post-training quantization, beside this one: what they make of one network, on
the same images and bits, and in how much time.
"""

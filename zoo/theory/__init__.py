"""The theory of MetaLA (arXiv 2411.10741, section 4) as programs: conditions C0 to C3, measured.

C0: the state does not grow. C1, dynamic memory: one slot can be overwritten and the others kept.
C2, static approximation: any attention map can be approximated. C3: with the fewest groups of
parameters. Letters here: n tokens, c or d_k channels; everything is float64 and one head.
"""

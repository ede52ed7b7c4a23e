"""Tests that may be looked at after every request: evidence is money won by betting against a hypothesis.

A bet that is fair under the hypothesis multiplies one's money by more than 20 with a chance of at most 1 in 20,
however often one looks and whenever one stops (Ville 1939; Ramdas, Grünwald, Vovk and Shafer (2023), Game-theoretic
statistics and safe anytime-valid inference, Statistical Science 38). So money *is* the evidence, an *e-value*: 1 over it
is a p-value that stays right under any stopping.

`rates` bets on shares of requests, such as errors; `superiority` on which arm's values are greater, such as latencies.
"""

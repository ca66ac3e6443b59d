"""Whether a method keeps the contract: trials in processes of their own, and the checks that read them.

`recbench method check` and `recbench.testing.MethodContract` share what is here.
"""

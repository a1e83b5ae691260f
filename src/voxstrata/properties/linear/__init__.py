"""Linear predictability: ridge and logistic regression with controls."""

"""Methods of a third party, one for each way in which a method can behave."""

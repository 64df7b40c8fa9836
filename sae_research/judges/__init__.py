"""Language models that judge: what they are asked, what they answered, what that may cost, who they are."""

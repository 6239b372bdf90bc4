"""`modalign build`: preference data made of demonstrations and images by the policy that will be trained on it."""

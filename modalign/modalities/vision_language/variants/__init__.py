"""Other images to judge a response under: what a preference between images is made of."""

"""Networks: enrollment encoder, hyper-personalizer, personalized model, main models."""
